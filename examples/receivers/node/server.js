// A receiver of CyberVault's webhooks in Node.js, with nothing to install:
//
//   CYBERVAULT_WEBHOOK_SECRET=whsec_... PORT=3000 node server.js
//
// Put it behind something that speaks HTTPS. CYBERVAULT_WEBHOOK_SECRET may hold
// two secrets with a comma between them while a rotation overlaps.
const http = require('http');
const { verifyWebhook } = require('./verify.js');

const secrets = (process.env.CYBERVAULT_WEBHOOK_SECRET || '').split(',').filter(Boolean);
if (secrets.length === 0) {
  console.error('CYBERVAULT_WEBHOOK_SECRET is missing: use the secret that was shown when the webhook was made');
  process.exit(2);
}

const MAX_BODY_BYTES = 1 << 20;
const MAX_REMEMBERED = 100000;
const handled = new Set(); // idempotency keys; in memory, so a restart forgets them

// True if one of the signatures fits one of the secrets. timingSafeEqual throws
// when the lengths differ, so anything that is not 64 hex digits is put aside
// before.
function verified(body, headers) {
  const signatures = [headers['x-cybervault-signature'], headers['x-cybervault-signature-next']]
    .filter((s) => typeof s === 'string' && /^[0-9a-f]{64}$/.test(s));
  return signatures.some((signature) => secrets.some((secret) => verifyWebhook(body, signature, secret)));
}

// The work: whatever is to be done with an event. Throw to have it sent again.
function handle(event) {
  console.log(`${event.event} ${event.id} ${JSON.stringify(event.data)}`);
}

function receive(body, headers) {
  if (!verified(body, headers)) return 401;
  const event = JSON.parse(body);
  const key = `${event.metadata.workspace_id}/${event.metadata.idempotency_key}`;
  if (handled.has(key)) return 200;
  handle(event);
  handled.add(key);
  if (handled.size > MAX_REMEMBERED) handled.delete(handled.values().next().value);
  return 200;
}

const server = http.createServer((request, response) => {
  const answer = (status) => response.writeHead(status).end();
  if (request.method !== 'POST') return answer(405);
  const chunks = []; // the body as bytes: it is parsed only after it was verified
  let length = 0;
  request.on('data', (chunk) => {
    length += chunk.length;
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
  });
  request.on('end', () => {
    if (length > MAX_BODY_BYTES) return answer(413);
    try {
      answer(receive(Buffer.concat(chunks), request.headers));
    } catch (error) {
      console.error(error.message);
      answer(500);
    }
  });
});

server.listen(Number(process.env.PORT || 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
