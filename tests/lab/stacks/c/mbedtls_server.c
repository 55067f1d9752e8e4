/* mbed TLS 2.28: mbedtls_server ADDRESS PORT CHAIN.pem KEY.pem MIN MAX, versions TLS1.0 to TLS1.2. */
#include "loop.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>

static const char *const NAMES[] = {"TLS1.0", "TLS1.1", "TLS1.2", NULL};
static const int MINORS[] = {MBEDTLS_SSL_MINOR_VERSION_1, MBEDTLS_SSL_MINOR_VERSION_2, MBEDTLS_SSL_MINOR_VERSION_3};

static mbedtls_ssl_config config;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;

static void serve(int connection)
{
    mbedtls_net_context net = {.fd = connection};
    mbedtls_ssl_context ssl;
    unsigned char data[512];

    mbedtls_ssl_init(&ssl);
    if (mbedtls_ctr_drbg_reseed(&drbg, NULL, 0) != 0 || mbedtls_ssl_setup(&ssl, &config) != 0)
        fail("setup");
    mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, mbedtls_net_recv, NULL);
    while (mbedtls_ssl_read(&ssl, data, sizeof data) > 0)
        continue;
    mbedtls_ssl_close_notify(&ssl);
}

int main(int argc, char **argv)
{
    static mbedtls_x509_crt chain;
    static mbedtls_pk_context key;

    if (argc != 7)
        fail("arguments");
    mbedtls_x509_crt_init(&chain);
    mbedtls_pk_init(&key);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    mbedtls_ssl_config_init(&config);
    if (mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0) != 0)
        fail("seed");
    if (mbedtls_x509_crt_parse_file(&chain, argv[3]) != 0 || mbedtls_pk_parse_keyfile(&key, argv[4], NULL) != 0)
        fail("certificate");
    if (mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM, 0) != 0)
        fail("defaults");
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &drbg);
    mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MINORS[index_of(argv[5], NAMES)]);
    mbedtls_ssl_conf_max_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MINORS[index_of(argv[6], NAMES)]);
    if (mbedtls_ssl_conf_own_cert(&config, &chain, &key) != 0)
        fail("own certificate");
    serve_forever(open_listener(argv[1], argv[2]), serve);
}
