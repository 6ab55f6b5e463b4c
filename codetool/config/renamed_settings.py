"""Former names of groups and settings, so that an error message can give the current name."""

from __future__ import annotations

RENAMED_GROUPS = {
    "answering": "answer_prompt@answer.prompt",
    "judging": "prm_prompt@prm.prompt",
    "live": "tool_proxy@tools.tool_proxy",
    "prompt": "policy_prompt@policy.prompt",
}
"""Former name of each group, and the current name with the place that the group is chosen for."""

RENAMED_SETTINGS = {
    "batching": "train.batching",
    "benchmark.observation": "benchmark.max_observation_chars",
    "collect.estimate": "collect.estimator",
    "collect.outcome": "collect.leaf_success",
    "collect.tau": "collect.length_term",
    "collect.unsolved": "collect.keep_unsolved",
    "data": "collect",
    "evaluate_prm.weigh_pairs": "evaluate_prm.weight_pairs_by_count",
    "executor.max_live": "executor.max_live_processes",
    "executor.memory": "executor.memory_mib",
    "executor.output": "executor.max_output_chars",
    "executor.scratch": "executor.scratch_mib",
    "judge.comparison": "judge.pairwise",
    "judge.observation": "judge.max_observation_chars",
    "judged": "judge_stage",
    "labels": "train.labels",
    "logger.connect": "logger.wandb.connect_timeout",
    "logger.connect_timeout": "logger.wandb.connect_timeout",
    "logger.entity": "logger.wandb.entity",
    "logger.project": "logger.wandb.project",
    "logger.upload": "logger.wandb.upload_timeout",
    "logger.upload_timeout": "logger.wandb.upload_timeout",
    "policy.prefix_tokens": "policy.prefix_cache_tokens",
    "policy.rows": "policy.max_batch_size",
    "policy.wheel": "policy.weights_wheel",
    "prm.batch_tokens": "prm.max_batch_tokens",
    "prm.pause": "prm.backoff",
    "prm.prefix_tokens": "prm.prefix_cache_tokens",
    "prm.prompt.steps.observation": "prm.prompt.steps.max_observation_chars",
    "prm.wheel": "prm.weights_wheel",
    "serve": "serve_tools",
    "simulator.example_characters": "simulator.max_example_chars",
    "target": "train.target",
    "tools.cache": "tools.recorded_answers",
    "tools.live": "tools.tool_proxy",
    "tools.recorded_answers.memory": "tools.recorded_answers.memory_mib",
    "train.accumulate": "trainer.accumulate_grad_batches",
    "train.checkpoint_every": "train.checkpoint_every_n_steps",
    "train.checkpointing": "train.gradient_checkpointing",
    "train.clip": "trainer.gradient_clip_val",
    "train.data": "train.files",
    "train.early_stopping_patience": "callback.early_stopping.patience",
    "train.epochs": "trainer.max_epochs",
    "train.gradient_accumulation_steps": "trainer.accumulate_grad_batches",
    "train.learning_rate": "optimizer.lr",
    "train.max_grad_norm": "trainer.gradient_clip_val",
    "train.merge": "train.save_merged",
    "train.new_labels": "train.add_label_tokens",
    "train.patience": "callback.early_stopping.patience",
    "train.tokens": "train.max_tokens_per_batch",
    "train.val_checks_per_epoch": "trainer.val_check_interval",
    "train.validation": "train.val_fraction",
    "train.validation_data": "train.val_files",
    "train.validations": "trainer.val_check_interval",
    "train.warmup": "scheduler.warmup_ratio",
    "train.warmup_ratio": "scheduler.warmup_ratio",
    "train.weight_decay": "optimizer.weight_decay",
    "tuning.start": "tuning.init_adapter",
    "vllm.cpu_cache": "vllm.cpu_kv_cache_gib",
} | {
    f"{owner}.prompt.{old}": f"{owner}.prompt.{new}"
    for owner in ("answer", "collect", "policy", "prm")
    for old, new in (("observation", "max_observation_chars"), ("response", "max_response_chars"))
}
"""Former name of each setting or block of settings, and the current one."""


def find_current_name(name: str) -> str | None:
    """Return the current name of a group (`judging`, `judging@prm.prompt`) or setting; None if it was not renamed."""
    group, at, place = name.partition("@")
    if at:
        current = f"{_rename_group(group)}@{_rename_setting(place)}"
    else:
        current = RENAMED_GROUPS.get(name) or _rename_setting(name)
    return None if current == name else current


def suggest_current_name(name: str) -> str:
    """Return the sentence that suggests the current name, after a space; empty if the name was not renamed."""
    current = find_current_name(name)
    return f" Did you mean {current}?" if current else ""


def _rename_group(group: str) -> str:
    return RENAMED_GROUPS.get(group, group).partition("@")[0]


def _rename_setting(name: str) -> str:
    """Return the current dotted name, the longest former name at its beginning replaced, until none is left."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        current = RENAMED_SETTINGS.get(".".join(parts[:length]))
        if current is not None:
            return _rename_setting(".".join([current, *parts[length:]]))
    return name
