// Has the browser make a passkey, or sign with one, before a form that holds the options
// is sent: the answer goes with it. Options and answers are the JSON of WebAuthn Level 3,
// which not all browsers read and write by themselves yet.
(() => {
  'use strict';

  const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const listed = (all) => (all ?? []).map((c) => ({ ...c, id: bytes(c.id) }));

  const ask = (kind, o) => kind === 'create'
    ? navigator.credentials.create({ publicKey: { ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) }, excludeCredentials: listed(o.excludeCredentials) } })
    : navigator.credentials.get({ publicKey: { ...o, challenge: bytes(o.challenge), allowCredentials: listed(o.allowCredentials) } });

  const answer = (c) => {
    const r = c.response, response = { clientDataJSON: text(r.clientDataJSON) };
    for (const name of ['attestationObject', 'authenticatorData', 'signature', 'userHandle']) if (r[name]) response[name] = text(r[name]);
    if (r.getTransports) response.transports = r.getTransports();
    return JSON.stringify({ id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment ?? undefined, clientExtensionResults: {}, response });
  };

  const words = {
    NotAllowedError: 'Nothing came of it: it was cancelled, or took too long. Try again.',
    InvalidStateError: 'That device has a passkey for this account already.',
    SecurityError: 'The browser offers no passkeys at this address. They need https and a host name, or http://localhost.',
    NotSupportedError: 'That device cannot make a passkey that this server takes.',
  };

  for (const form of document.querySelectorAll('[data-passkey]')) {
    const button = form.querySelector('button[type=submit]'), problem = form.querySelector('[data-passkey-problem]');
    const say = (what) => {
      problem.querySelector('span').textContent = what;
      problem.hidden = !what;
    };
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      if (!form.reportValidity()) return; // before the device makes what would then be refused
      if (!window.PublicKeyCredential) return say(words.SecurityError);
      say('');
      button.disabled = true;
      try {
        form.elements.passkey.value = answer(await ask(form.dataset.passkey, JSON.parse(form.dataset.options)));
        form.submit(); // without asking this listener again
      } catch (error) {
        say(words[error.name] ?? 'The browser says: ' + error.message);
        button.disabled = false;
        button.focus();
      }
    });
  }
})();
