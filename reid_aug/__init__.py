"""More training data for person re-identification, and an honest answer to whether it helps.

Where things are; each module's docstring says the rest.

- data: dataset, poses, people, deepfashion, check, pair_lists
- key points: estimate_poses, pose_estimators, pose_files, joint_layouts, graph_model,
  graph_operations
- generator: generator, adversary, limb_warp, teacher, pairs, generator_settings, generator_trainer,
  starting_weights, train_generator, training_folder, training_record, attention
- bank: bank, plan, coverage, artists, synthesize, shards, bank_card, score_bank, show_bank,
  verify_bank, export_bank, import_bank, contact_sheet
- re-ID: mixing, backbones, inceptions, reid_settings, reid_batches, reid_losses, reid_trainer,
  reid_folder, reid_network, train_reid
- re-ID, evaluated: features, evaluation, device_evaluation, reranking, centralisation,
  ranked_lists, evaluate_reid
- drawings, judged: image_quality, drawings, evaluate_generator, user_study
- studies: cell, grid, grid_cost, shared_work, tasks, local_pool, ray_pool, benchmark, report
- under all: recipe, stage, cli, provenance, weights, files, errors, progress, workers, ranks,
  shared_norm, adam_state, pictures, pages
"""

__version__ = "0.1.0"
