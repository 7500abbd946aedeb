"""More training data for person re-identification, and an honest answer to whether it helps.

Stages are modules named after their command; what a stage is made of is a package beside it. Each
docstring says the rest, that of a package what its files are.

- data: dataset, poses, people, deepfashion, check, pair_lists
- key points: estimate_poses, pose_estimators
- generator: generator, adversary, train_generator, generator_training
- bank: bank, synthesize, score_bank, show_bank, verify_bank, export_bank, import_bank
- re-ID: mixing, backbones, train_reid, reid_training
- judging: evaluation, evaluate_reid, image_quality, evaluate_generator, user_study
- studies: benchmark, study, report
- front: recipe, stage, cli
- under all: errors, files, weights, provenance, ranks, bfloat16, shared_norm, adam_state, workers,
  progress, pictures, pages
"""

__version__ = "0.1.0"
