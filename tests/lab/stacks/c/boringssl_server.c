/* BoringSSL: boringssl_server ADDRESS PORT CHAIN.pem KEY.pem MIN MAX, versions TLS1.0 to TLS1.3. */
#include "loop.h"

#include <openssl/ssl.h>

static const char *const NAMES[] = {"TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3", NULL};
static const uint16_t VERSIONS[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};

static SSL_CTX *context;

static void serve(int connection)
{
    SSL *ssl = SSL_new(context);
    char data[512];

    if (ssl == NULL || !SSL_set_fd(ssl, connection))
        fail("connection");
    if (SSL_accept(ssl) == 1) {
        while (SSL_read(ssl, data, sizeof data) > 0)
            continue;
        SSL_shutdown(ssl);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        fail("arguments");
    context = SSL_CTX_new(TLS_method());
    if (context == NULL || !SSL_CTX_set_min_proto_version(context, VERSIONS[index_of(argv[5], NAMES)])
        || !SSL_CTX_set_max_proto_version(context, VERSIONS[index_of(argv[6], NAMES)]))
        fail("versions");
    if (!SSL_CTX_use_certificate_chain_file(context, argv[3])
        || !SSL_CTX_use_PrivateKey_file(context, argv[4], SSL_FILETYPE_PEM))
        fail("certificate");
    serve_forever(open_listener(argv[1], argv[2]), serve);
}
