"use strict";
// Forms with data-passkey: the browser makes a passkey ("create") or uses one ("get"), and the form carries its answer.

const toBytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const SENTENCES = {
  NotAllowedError: "The browser used no passkey: it was cancelled, or it took too long. Try once more.",
  InvalidStateError: "This device has a passkey for your account already.",
  SecurityError: "Passkeys of this registry work at its own address, over HTTPS.",
};

async function ask(kind, options) {
  options.challenge = toBytes(options.challenge);
  if (options.user) options.user.id = toBytes(options.user.id);
  for (const each of [...(options.allowCredentials ?? []), ...(options.excludeCredentials ?? [])]) each.id = toBytes(each.id);
  return navigator.credentials[kind]({ publicKey: options });
}

function describe(credential) {
  const { response } = credential;
  const answer = { clientDataJSON: toText(response.clientDataJSON) };
  if (response.attestationObject) {
    answer.attestationObject = toText(response.attestationObject);
    answer.transports = response.getTransports?.() ?? [];
  } else {
    answer.authenticatorData = toText(response.authenticatorData);
    answer.signature = toText(response.signature);
  }
  return { id: credential.id, rawId: toText(credential.rawId), type: credential.type, response: answer };
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const complaint = form.querySelector("[data-complaint]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    complaint.textContent = "";
    try {
      if (!window.PublicKeyCredential) throw new DOMException("", "SecurityError");
      const credential = await ask(form.dataset.passkey, JSON.parse(form.dataset.options));
      form.elements.credential.value = JSON.stringify(describe(credential));
      form.submit();
    } catch (error) {
      complaint.textContent = SENTENCES[error.name] ?? `The browser used no passkey: ${error.message}`;
    }
  });
}
