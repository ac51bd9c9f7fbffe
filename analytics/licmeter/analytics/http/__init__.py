"""The statistics over HTTP: `GET /v1/organizations/{id}/statistics/…` (docs/statistics-api.md)."""
