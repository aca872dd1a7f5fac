"""The trainer's data room: sealed shards in, batches out; all of it a function of (config, seed, position).

A training that stops and resumes, or runs on another number of workers, sees the same samples in the same order.
"""

from pipelines.data.batches import Batch, batches
from pipelines.data.cache import FeatureCache
from pipelines.data.config import DataConfig, DatasetConfig, DropoutConfig, RolesConfig
from pipelines.data.reader_processes import Readers
from pipelines.data.triplets import Triplet, TripletStream

__all__ = ["Batch", "DataConfig", "DatasetConfig", "DropoutConfig", "FeatureCache", "Readers", "RolesConfig",
           "Triplet", "TripletStream", "batches"]
