"use strict";
// The API's page: Swagger UI from the vendored files, without anything that asks other hosts.
window.SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});
