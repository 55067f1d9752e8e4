// Command main is a TLS server on Go's crypto/tls: main ADDRESS PORT CHAIN.pem KEY.pem MIN MAX.
package main

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"os"
	"time"
)

var versions = map[string]uint16{
	"TLS1.0": tls.VersionTLS10,
	"TLS1.1": tls.VersionTLS11,
	"TLS1.2": tls.VersionTLS12,
	"TLS1.3": tls.VersionTLS13,
}

func serve(conn net.Conn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		log.Print(err)
	}
}

func main() {
	if len(os.Args) != 7 {
		log.Fatal("arguments")
	}
	pair, err := tls.LoadX509KeyPair(os.Args[3], os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   versions[os.Args[5]],
		MaxVersion:   versions[os.Args[6]],
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(os.Args[1], os.Args[2]), config)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn)
	}
}
