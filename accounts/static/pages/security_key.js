// The button of a form whose hidden field takes what a security key has signed.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("security-key");
  const button = form.querySelector("button");
  const field = form.querySelector("input[name=credential]");
  const note = form.querySelector("p[role=alert][hidden]");
  const data = JSON.parse(document.getElementById("security-key-data").textContent);
  button.id = "security-key-button";
  const ids = { credential: field.id, data: "security-key-data" };
  if (data.creation_options) {
    window.allauth.webauthn.forms.addForm({ ids: { ...ids, add: button.id } });
  } else {
    window.allauth.webauthn.forms.authenticateForm({ ids: { ...ids, authenticate: button.id } });
  }
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    note.textContent = form.dataset.failed;
    note.hidden = false;
  });
});
