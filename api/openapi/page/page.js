// Shows this server's OpenAPI document. Nothing is loaded from elsewhere.
SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#operations",
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
});
