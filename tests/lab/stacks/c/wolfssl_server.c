/* wolfSSL 5.5: wolfssl_server ADDRESS PORT CHAIN.pem KEY.pem MIN MAX, versions TLS1.1 to TLS1.3 (Debian's build). */
#include "loop.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

static const char *const NAMES[] = {"TLS1.1", "TLS1.2", "TLS1.3", NULL};
static const int MINIMUM[] = {WOLFSSL_TLSV1_1, WOLFSSL_TLSV1_2, WOLFSSL_TLSV1_3};

static WOLFSSL_CTX *context;

static void serve(int connection)
{
    WOLFSSL *ssl = wolfSSL_new(context);
    char data[512];

    if (ssl == NULL || wolfSSL_set_fd(ssl, connection) != WOLFSSL_SUCCESS)
        fail("connection");
    while (wolfSSL_read(ssl, data, sizeof data) > 0)
        continue;
    wolfSSL_shutdown(ssl);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        fail("arguments");
    int min = index_of(argv[5], NAMES), max = index_of(argv[6], NAMES);

    /* There is no setter of the highest version: it comes with the method, and only the newest one can go lower. */
    if (min == max)
        context = wolfSSL_CTX_new(max == 0   ? wolfTLSv1_1_server_method()
                                  : max == 1 ? wolfTLSv1_2_server_method()
                                             : wolfTLSv1_3_server_method());
    else if (max == 2)
        context = wolfSSL_CTX_new(wolfSSLv23_server_method());
    else
        fail("version range");
    if (context == NULL || (min != max && wolfSSL_CTX_SetMinVersion(context, MINIMUM[min]) != WOLFSSL_SUCCESS))
        fail("context");
    if (wolfSSL_CTX_use_certificate_chain_file(context, argv[3]) != WOLFSSL_SUCCESS
        || wolfSSL_CTX_use_PrivateKey_file(context, argv[4], WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
        fail("certificate");
    serve_forever(open_listener(argv[1], argv[2]), serve);
}
