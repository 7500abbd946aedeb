"""More training data for person re-identification, and an honest answer to whether it helps.

Packages in order of dependency; each imports only those above it:

- runtime: errors, files, weights, progress, processes
- data: data set, keypoints, formats, checks, provenance
- people: the built-in data set
- pose_estimators: a crop -> 18 joints
- generator: the PATN network, its checkpoints and discriminators
- backbones: re-ID networks
- image_quality: metrics of generated images
- bank: the HDF5 file of generated images
- evaluation: distances -> mAP, CMC, mINP
- mixing: the training set out of real and generated images
- stages: every command that writes a file of the contract
- study: grids of trainings, benchmark, report
- cli: the command line
"""

__version__ = "0.1.0"
