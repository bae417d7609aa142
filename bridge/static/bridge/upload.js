// A file on its way, with how much of it is there. Without this script the form is sent as any other.
const form = document.querySelector("[data-upload]");
const error = document.querySelector("[data-error]");
const progress = form.querySelector("[data-progress]");
const bar = progress.querySelector("progress");
const words = progress.querySelector("[data-words]");
const button = form.querySelector("button[type=submit]");

function failed(text) {
  error.textContent = text;
  progress.hidden = true;
  button.disabled = false;
}

function answered(request) {
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // An answer of the server itself, or of what stands before it.
  }
  if (answer.next) location.assign(answer.next);
  else failed(answer.error || form.dataset.lost);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.setRequestHeader("X-Requested-With", "fetch");
  request.upload.onprogress = ({ loaded, total }) => {
    const share = Math.floor((100 * loaded) / total);
    if (bar.value === share && words.textContent) return;
    bar.value = share;
    words.textContent = share < 100 ? form.dataset.sending.replace("{}", `${share} %`) : form.dataset.unpacking;
  };
  request.onload = () => answered(request);
  request.onerror = request.ontimeout = () => failed(form.dataset.lost);
  error.textContent = "";
  progress.hidden = false;
  button.disabled = true;
  request.send(new FormData(form));
});
