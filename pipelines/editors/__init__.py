"""Parts of ``DiffusersExpert``: how a pipeline is loaded, and how a request becomes the arguments of its call."""
