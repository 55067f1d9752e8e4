// Pike's own TLS: server.pike ADDRESS PORT CERTIFICATE.pem KEY.pem MIN MAX, versions SSL3 to TLS1.2.

constant VERSIONS = ([
  "SSL3": SSL.Constants.PROTOCOL_SSL_3_0,
  "TLS1.0": SSL.Constants.PROTOCOL_TLS_1_0,
  "TLS1.1": SSL.Constants.PROTOCOL_TLS_1_1,
  "TLS1.2": SSL.Constants.PROTOCOL_TLS_1_2,
]);

SSL.Port port;

int main(int argc, array(string) argv)
{
  if (argc != 7) error("arguments\n");
  SSL.Context context = SSL.Context();
  context->min_version = VERSIONS[argv[5]];
  context->max_version = VERSIONS[argv[6]];
  Standards.PEM.Messages certificate = Standards.PEM.Messages(Stdio.read_file(argv[3]));
  Standards.PEM.Messages key = Standards.PEM.Messages(Stdio.read_file(argv[4]));
  context->add_cert(Standards.PKCS.RSA.parse_private_key(key->get_private_key()),
                    certificate->get_certificates(), ({ "*" }));
  context->preferred_suites = context->get_suites(-1, 2);
  port = SSL.Port(context);
  if (!port->bind((int)argv[2], accepted, argv[1])) error("bind\n");
  return -1;
}

void accepted(object connection)
{
  while (SSL.File file = port->accept())
    file->set_nonblocking(lambda(mixed id, string data) {}, 0, lambda() { file->close(); });
}
