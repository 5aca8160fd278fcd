"""The live page of a run: a web server that speaks to the front door of a coordinator. It needs the extra `dashboard`."""
