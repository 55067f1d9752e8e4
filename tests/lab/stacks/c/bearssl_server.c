/* BearSSL: bearssl_server ADDRESS PORT CERTIFICATE.der KEY.der MIN MAX, versions TLS1.0 to TLS1.2. RSA keys only. */
#include "loop.h"

#include <bearssl.h>

static const char *const NAMES[] = {"TLS1.0", "TLS1.1", "TLS1.2", NULL};
static const unsigned VERSIONS[] = {BR_TLS10, BR_TLS11, BR_TLS12};

static unsigned char certificate_der[8192], key_der[8192], buffer[BR_SSL_BUFSIZE_BIDI];
static br_x509_certificate chain[1];
static br_skey_decoder_context key;
static unsigned version_min, version_max;

static size_t read_file(const char *path, unsigned char *into, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t length = file == NULL ? 0 : fread(into, 1, size, file);

    if (length == 0)
        fail(path);
    fclose(file);
    return length;
}

static int read_socket(void *context, unsigned char *data, size_t length)
{
    ssize_t got = read(*(int *)context, data, length);
    return got <= 0 ? -1 : (int)got;
}

static int write_socket(void *context, const unsigned char *data, size_t length)
{
    ssize_t put = write(*(int *)context, data, length);
    return put <= 0 ? -1 : (int)put;
}

static void serve(int connection)
{
    static br_ssl_server_context server;
    static br_sslio_context io;
    unsigned char data[512];

    br_ssl_server_init_full_rsa(&server, chain, 1, br_skey_decoder_get_rsa(&key));
    br_ssl_engine_set_versions(&server.eng, version_min, version_max);
    br_ssl_engine_set_buffer(&server.eng, buffer, sizeof buffer, 1);
    if (!br_ssl_server_reset(&server))
        fail("reset");
    br_sslio_init(&io, &server.eng, read_socket, &connection, write_socket, &connection);
    while (br_sslio_read(&io, data, sizeof data) > 0)
        continue;
    fprintf(stderr, "error %d\n", br_ssl_engine_last_error(&server.eng));
    br_sslio_close(&io);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        fail("arguments");
    chain[0].data = certificate_der;
    chain[0].data_len = read_file(argv[3], certificate_der, sizeof certificate_der);
    br_skey_decoder_init(&key);
    br_skey_decoder_push(&key, key_der, read_file(argv[4], key_der, sizeof key_der));
    if (br_skey_decoder_key_type(&key) != BR_KEYTYPE_RSA)
        fail("key");
    version_min = VERSIONS[index_of(argv[5], NAMES)];
    version_max = VERSIONS[index_of(argv[6], NAMES)];
    serve_forever(open_listener(argv[1], argv[2]), serve);
}
