"""The ground floor: settings, the map of URLs, dialects, errors and blobs. Imports no app."""
