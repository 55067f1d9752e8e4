import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/**
 * One handshake by Java's own JSSE or by Bouncy Castle's: {@code Client SunJSSE|BCJSSE ADDRESS PORT NAME
 * PROTOCOL,PROTOCOL any|none}, the last of which says whom it trusts.
 */
public final class Client {
    private static final int LIMIT_MS = 10_000;
    private static final int AFTER_MS = 2_000;

    private record Trust(boolean anybody) implements X509TrustManager {
        @Override
        public void checkClientTrusted(X509Certificate[] chain, String kind) {}

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String kind) throws CertificateException {
            if (!anybody) {
                throw new CertificateException("distrusted");
            }
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }

    public static void main(String[] arguments) throws Exception {
        Security.setProperty("jdk.tls.disabledAlgorithms", "");
        Security.setProperty("jdk.certpath.disabledAlgorithms", "");
        if (arguments[0].equals("BCJSSE")) {
            Security.insertProviderAt(provider("org.bouncycastle.jce.provider.BouncyCastleProvider"), 1);
            Security.insertProviderAt(provider("org.bouncycastle.jsse.provider.BouncyCastleJsseProvider"), 2);
        }
        SSLContext context = SSLContext.getInstance("TLS", arguments[0]);
        context.init(null, new TrustManager[] {new Trust(arguments[5].equals("any"))}, new SecureRandom());
        int port = Integer.parseInt(arguments[2]);
        try (Socket raw = new Socket()) {
            raw.connect(new InetSocketAddress(arguments[1], port), LIMIT_MS);
            raw.setSoTimeout(LIMIT_MS);
            SSLSocket connection =
                    (SSLSocket) context.getSocketFactory().createSocket(raw, arguments[3], port, true);
            connection.setEnabledProtocols(arguments[4].split(","));
            connection.startHandshake();
            System.out.println("completed " + connection.getSession().getProtocol());
            raw.setSoTimeout(AFTER_MS);
            connection.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes("US-ASCII"));
            connection.getInputStream().read(new byte[100]);
        } catch (Exception error) {
            System.out.println("failed: " + error);
        }
    }

    private static Provider provider(String name) throws ReflectiveOperationException {
        return (Provider) Class.forName(name).getDeclaredConstructor().newInstance();
    }
}
