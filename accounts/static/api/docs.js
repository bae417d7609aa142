// Shows the OpenAPI document of this gateway.
"use strict";

const place = document.getElementById("document");

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
