"""The tokens that end an answer, in files that name some of them and in files that name none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Texts that end an answer wherever they are tokens of their own, whatever a file calls them.
STOP_TEXTS = (
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>",
    "<end_of_turn>", "<|eot|>", "<|eom|>", "<|return|>", "<|call|>", "<|calls|>", "<|flush|>",
    "<|EOT|>", "<|END_OF_TURN_TOKEN|>", "<|eos|>", "<end_of_utterance>", "<turn|>",
    "[|endofturn|]", "<｜end▁of▁sentence｜>",
)  # fmt: skip
# Texts that may as well be words: they do where the file says that they are special.
STOP_WORDS = ("</s>", "<eos>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]")


def is_stop(text: str, special: bool) -> bool:
    """Whether a token of this text ends an answer."""
    return text in STOP_TEXTS or (special and text in STOP_WORDS)


def stop_tokens(
    named: Sequence[int], tokens: Iterable[tuple[int, str, bool]], count: int
) -> tuple[int, ...]:
    """Tokens that end an answer, those that the file names first.

    Args:
        named: by the file; one that is no token can never be drawn and is left out.
        tokens: number, text, whether it is special.
        count: tokens of the vocabulary.
    """
    texts = {number: text for number, text, special in tokens if is_stop(text, special)}
    if {"<|return|>", "<|call|>"} <= set(texts.values()):  # there <|end|> ends a part of an answer
        texts = {number: text for number, text in texts.items() if text != "<|end|>"}
    return tuple(dict.fromkeys(n for n in (*named, *texts) if 0 <= n < count))
