"""Pictures of networks: the module `picture.js`, the report of a run, and the widget of notebooks."""
