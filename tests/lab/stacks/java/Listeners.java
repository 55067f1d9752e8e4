import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.util.Arrays;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;

/**
 * TLS servers of Java's own JSSE or of Bouncy Castle's: {@code Listeners SunJSSE|BCJSSE}.
 *
 * <p>Each line of standard input asks for one: {@code ADDRESS PORT KEYSTORE.p12 PASSWORD PROTOCOL,PROTOCOL}. One virtual
 * machine serves them all, because starting one is dear.
 */
public final class Listeners {
    private static final int CONNECTION_MS = 10_000;

    public static void main(String[] arguments) throws Exception {
        Security.setProperty("jdk.tls.disabledAlgorithms", "");
        Security.setProperty("jdk.certpath.disabledAlgorithms", "");
        boolean isBouncy = arguments[0].equals("BCJSSE");
        if (isBouncy) {
            Security.insertProviderAt(provider("org.bouncycastle.jce.provider.BouncyCastleProvider"), 1);
            Security.insertProviderAt(provider("org.bouncycastle.jsse.provider.BouncyCastleJsseProvider"), 2);
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            KeyStore store = KeyStore.getInstance("PKCS12");
            try (InputStream file = new FileInputStream(words[2])) {
                store.load(file, words[3].toCharArray());
            }
            KeyManagerFactory keys = KeyManagerFactory.getInstance(isBouncy ? "PKIX" : "SunX509");
            keys.init(store, words[3].toCharArray());
            SSLContext context = SSLContext.getInstance("TLS", arguments[0]);
            context.init(keys.getKeyManagers(), null, null);
            SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory()
                    .createServerSocket(Integer.parseInt(words[1]), 128, InetAddress.getByName(words[0]));
            listener.setEnabledProtocols(words[4].split(","));
            listener.setEnabledCipherSuites(listener.getSupportedCipherSuites());
            System.out.println(words[1] + " " + Arrays.toString(listener.getEnabledProtocols()));
            start(() -> accept(listener));
        }
        Thread.currentThread().join();
    }

    private static Provider provider(String name) throws ReflectiveOperationException {
        return (Provider) Class.forName(name).getDeclaredConstructor().newInstance();
    }

    private static void accept(SSLServerSocket listener) {
        while (true) {
            try {
                SSLSocket connection = (SSLSocket) listener.accept();
                start(() -> serve(connection));
            } catch (Exception error) {
                System.out.println(error);
            }
        }
    }

    private static void serve(SSLSocket connection) {
        try (connection) {
            connection.setSoTimeout(CONNECTION_MS);
            connection.startHandshake();
            while (connection.getInputStream().read() >= 0) {
                continue;
            }
        } catch (Exception error) {
            System.out.println(error);
        }
    }

    private static void start(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }
}
