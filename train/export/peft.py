"""Adapters out, as the library `peft` opens them."""

from pathlib import Path

from train.export.folder import appearing, check_free, write_json
from train.weights.peft import CONFIG, WEIGHTS, PeftAdapter


def save_peft(
    adapter: PeftAdapter, folder: Path, base: str | None, *, revision: str | None = None, card: str | None = None
) -> None:
    """Writes a directory that `PeftModel.from_pretrained` opens; it appears at once and whole, or not at all.

    Args:
      folder: must not exist, or be empty.
      base: hub id or folder of the weights that the adapter belongs to.
      revision: of the hub's repository; None: not pinned.
      card: README.md.

    Raises:
      UserError: there is something at `folder`.
    """
    from safetensors.numpy import save_file

    check_free(folder)
    with appearing(folder) as partial:
        about = {
            "task_type": "SEQ_2_SEQ_LM",
            "inference_mode": True,
            "base_model_name_or_path": base,
            "revision": revision,
        }
        write_json(partial / CONFIG, adapter.config | about)
        save_file(adapter.tensors, partial / WEIGHTS, metadata={"format": "pt"})
        (partial / WEIGHTS).chmod((partial / CONFIG).stat().st_mode)  # safetensors lets nobody else read it
        if card is not None:
            (partial / "README.md").write_text(card, encoding="utf-8")
