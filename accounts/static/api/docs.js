// Shows the OpenAPI document of this gateway.
"use strict";

const place = document.getElementById("document");

// Its colours for the dark hang on a class, not on what the reader prefers.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
    url: place.dataset.address,
    domNode: place,
    deepLinking: true,
    validatorUrl: null, // its usual one is another host's
    requestInterceptor: (request) => {
        request.headers["X-CSRFToken"] = place.dataset.csrf;
        return request;
    },
});
