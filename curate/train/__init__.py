"""The trainer: sealed shards in, a USO checkpoint out. It joins strangers: model and data, and a scorer as reward."""
