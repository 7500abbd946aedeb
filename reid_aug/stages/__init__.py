"""The stages: each reads files of the contract and writes files of the contract.

A stage has the name of its command, of its config class and of its table in a recipe.

- recipe: the configs of an experiment, and the run folder
- recipe_listing: a recipe as text, with the meaning of every key
- stage: what every stage starts from: recipe, data set, device, run folder
- job, cost: the shape of every stage: prepare, describe, cost, run
- doctor: checks of the machine; it writes nothing
- mix: which bank, ratio and mode a training uses
- estimate_poses: images -> ``keypoints.csv``
- train_generator: keypoints -> ``generator.safetensors``
- evaluate_generator: generator -> ``quality.json``
- person: one person and its generated images, for the next two
- pose: a person, poses -> a picture
- walk: a person -> an animated walk around the circle
- user_study: generator -> the page of the paper's user study
- target_poses: the pose library, or a keypoint file -> the target poses of a bank
- synthesize: generator -> ``bank.h5``
- bank: score, verify, show, export and import banks
- train_reid: a mix -> ``result.json``
- evaluate_reid: a trained network -> ``evaluations/*.json``
- export_reid: a trained network -> ONNX
- extract_features: a trained network, images -> their features as ``.npz`` or Parquet
"""
