"""The explorer's pages: an application for any ASGI server. Each page is a module with its handlers."""
