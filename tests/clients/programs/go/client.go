// Command client makes one handshake with Go's crypto/tls: client ADDRESS PORT NAME MIN MAX any|none (what it trusts).
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
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

func main() {
	config := &tls.Config{
		ServerName:         os.Args[3],
		MinVersion:         versions[os.Args[4]],
		MaxVersion:         versions[os.Args[5]],
		InsecureSkipVerify: os.Args[6] == "any",
		RootCAs:            x509.NewCertPool(),
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", net.JoinHostPort(os.Args[1], os.Args[2]), config)
	if err != nil {
		fmt.Println("failed:", err)
		return
	}
	defer conn.Close()
	fmt.Println("completed", tls.VersionName(conn.ConnectionState().Version))
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	conn.Read(make([]byte, 100))
}
