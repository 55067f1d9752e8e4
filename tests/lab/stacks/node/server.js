'use strict';
// Today's Node.js: server.js ADDRESS PORT CHAIN.pem KEY.pem MIN MAX, versions TLSv1 to TLSv1.3.
const fs = require('fs');
const tls = require('tls');

const [address, port, chain, key, minVersion, maxVersion] = process.argv.slice(2);
const server = tls.createServer({
  cert: fs.readFileSync(chain), key: fs.readFileSync(key), minVersion, maxVersion, ciphers: 'ALL:@SECLEVEL=0',
}, (connection) => {
  connection.on('error', () => connection.destroy());
  connection.resume();
});
server.on('tlsClientError', (error) => console.log(error.message));
server.listen(Number(port), address);
