// Errors in plain words.

/** By code, what happened and what to do. */
const WORDS = {
  "PXE-004": "The account does not have that much to spend. Notes that are not proven count only if you allow it.",
  "PXE-018": "An earlier transfer may have been sent. Look at the balances before you send another one.",
  "PXE-036": "The access token is wrong. The service makes a new one each time it starts.",
  "PXE-042": "The service does not understand the order. Check the recipient and the amount.",
  "PXE-044": "The service is busy with other requests. Try again in a minute.",
  "PXE-086": "The token of this page was not granted that. Ask the owner of the wallet.",
  "PXE-087": "The access token is not for this page.",
  unreachable:
    "No wallet service answers there, or it does not serve this page. " +
    "Start it with --serve-allow-origin and the address of this page.",
  timeout: "There was no answer in time.",
  dropped: "The network dropped the transfer. Its notes can be spent again.",
  invalid_response: "What answers there is no wallet service of this release.",
};

/** A sentence for people about an error. */
export function words(error) {
  const known = WORDS[error?.code];
  const text = known ?? (typeof error?.code === "string" ? error.message : "The page has a fault. Reload it.");
  const doubt = error?.mayHaveBeenSent
    ? " The transfer may have been sent all the same: press Send again, which pays once, or look at the balances."
    : "";
  return `${text}${doubt}`;
}
