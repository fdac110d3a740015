"""Translators: an encoder, attention, and a decoder that stops when all sentences have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.frameworks.tensorflow.zoo_graphs import INSTANCE, ONNX, Case, Feeds, export, normal

_WORDS, _DEPTH, _LONGEST = 40, 16, 12
_START, _END = 1, 2


class _Translator:
    """Both directions of a sentence, then one word after the other, each the likeliest one."""

    def __init__(self) -> None:
        import tensorflow as tf

        generator = np.random.default_rng(7)
        shapes = {
            "embedding": (_WORDS, _DEPTH),
            "forward": (2 * _DEPTH, 4 * _DEPTH),
            "backward": (2 * _DEPTH, 4 * _DEPTH),
            "decoder": (4 * _DEPTH, 4 * _DEPTH),
            "query": (_DEPTH, 2 * _DEPTH),
            "output": (3 * _DEPTH, _WORDS),
        }
        self.weights = {
            name: tf.Variable(normal(generator, *shape, scale=0.6))
            for name, shape in shapes.items()
        }

    def __call__(self, words: Any) -> Any:
        import tensorflow as tf

        embedded = tf.gather(self.weights["embedding"], words)
        ways = [
            self._read(embedded, "forward"),
            tf.reverse(self._read(tf.reverse(embedded, [1]), "backward"), [1]),
        ]
        memory = tf.concat(ways, -1)
        hidden = tf.math.not_equal(words, 0)

        def goes_on(step: Any, ended: Any, *_: Any) -> Any:
            return (step < _LONGEST) & ~tf.reduce_all(ended)

        def body(step: Any, ended: Any, word: Any, h: Any, c: Any, given: Any) -> tuple[Any, ...]:
            context = self._attend(h, memory, hidden)
            embedding = tf.gather(self.weights["embedding"], word)
            h, c = self._cell(tf.concat([embedding, context], -1), h, c, "decoder")
            scores = tf.matmul(tf.concat([h, context], -1), self.weights["output"])
            scores += tf.one_hot(_END, _WORDS) * 2.0
            word = tf.where(ended, 0, tf.argmax(scores, -1, tf.int32))
            return step + 1, ended | (word == _END), word, h, c, given.write(step, word)

        count = tf.shape(words)[0]
        zero = tf.zeros([count, _DEPTH])
        given = tf.TensorArray(tf.int32, 0, dynamic_size=True, element_shape=[None])
        first = tf.fill([count], _START)
        start = (0, tf.zeros([count], tf.bool), first, zero, zero, given)
        *_, given = tf.while_loop(goes_on, body, start)
        return tf.transpose(given.stack())

    def _read(self, embedded: Any, name: str) -> Any:
        import tensorflow as tf

        def body(step: Any, h: Any, c: Any, seen: Any) -> tuple[Any, ...]:
            h, c = self._cell(embedded[:, step], h, c, name)
            return step + 1, h, c, seen.write(step, h)

        length = tf.shape(embedded)[1]
        zero = tf.zeros([tf.shape(embedded)[0], _DEPTH])
        seen = tf.TensorArray(tf.float32, length, element_shape=[None, _DEPTH])
        state = tf.while_loop(lambda step, *_: step < length, body, (0, zero, zero, seen))
        return tf.transpose(state[-1].stack(), [1, 0, 2])

    def _cell(self, x: Any, h: Any, c: Any, name: str) -> tuple[Any, Any]:
        import tensorflow as tf

        gates = tf.split(tf.matmul(tf.concat([x, h], -1), self.weights[name]), 4, -1)
        c = tf.sigmoid(gates[0] + 1.0) * c + tf.sigmoid(gates[1]) * tf.tanh(gates[2])
        return tf.sigmoid(gates[3]) * tf.tanh(c), c

    def _attend(self, h: Any, memory: Any, hidden: Any) -> Any:
        import tensorflow as tf

        scores = tf.einsum("bd,btd->bt", tf.matmul(h, self.weights["query"]), memory)
        weights = tf.nn.softmax(tf.where(hidden, scores, -1e9))
        return tf.einsum("bt,btd->bd", weights, memory)


def _numbers(path: Path) -> None:
    import tensorflow as tf

    translator = _Translator()

    def call(words: Any) -> dict[str, Any]:
        return {"translation": translator(words)}

    spec = tf.TensorSpec([None, None], tf.int32, "words")
    export(path, call, spec, track=translator.weights)


def _text(path: Path) -> None:
    """The same from words to words, with tables before and behind it."""
    import tensorflow as tf

    translator = _Translator()
    words = ["", "<s>", "</s>", *(f"word{number}" for number in range(3, _WORDS))]
    numbers = list(range(_WORDS))
    table = _table(tf.constant(words), tf.constant(numbers), 3)
    back = _table(tf.constant(numbers), tf.constant(words), "<unk>")

    def call(words: Any) -> dict[str, Any]:
        translation = translator(table.lookup(words))
        found = back.lookup(translation)
        sentence = tf.strings.reduce_join(found, -1, separator=" ")
        return {"translation": found, "sentence": tf.strings.strip(sentence)}

    spec = tf.TensorSpec([None, None], tf.string, "words")
    export(path, call, spec, track=[translator.weights, table, back])


def _table(keys: Any, values: Any, otherwise: Any) -> Any:
    import tensorflow as tf

    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), otherwise)


def _sentences(generator: np.random.Generator) -> Feeds:
    words = generator.integers(3, _WORDS, (3, 7)).astype(np.int32)
    words[1, 4:] = 0
    return {"words": words}


def _spoken(of: Callable[[np.random.Generator], Feeds]) -> Callable[[np.random.Generator], Feeds]:
    def feeds(generator: np.random.Generator) -> Feeds:
        numbers = of(generator)["words"]
        texts = [b"" if number == 0 else b"word%d" % number for number in numbers.ravel()]
        return {"words": np.array(texts, object).reshape(numbers.shape)}

    return feeds


CASES: Mapping[str, Case] = {
    "gnmt": Case(_numbers, _sentences),
    "gnmt_text": Case(_text, _spoken(_sentences), runs=(INSTANCE, ONNX, INSTANCE)),
}
