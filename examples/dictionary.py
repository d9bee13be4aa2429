#!/usr/bin/python3
"""An ordinary program with a large heap: it builds, sorts, changes and hashes a dictionary of documents.

    dictionary.py [NUMBER OF DOCUMENTS]

It knows nothing of anonmm. The documents follow from their numbers, so the digest that it prints is the
same on every machine.
"""
import hashlib
import sys

WORDS = ("page frame fault list active inactive swap slot cache write read map unmap count lock wait reclaim age birth "
         "use death anonymous zero copy shadow device queue batch").split()


def document(number):
    """About 1.6 KB: half of it as good as random, half of it words."""
    seed = hashlib.sha256(str(number).encode()).digest()
    noise = b"".join(hashlib.sha256(seed + bytes([part])).digest() for part in range(25))
    prose = " ".join(WORDS[byte % len(WORDS)] for byte in seed * 4)
    return noise + prose.encode()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 110000
    documents = {}
    for number in range(count):
        documents[hashlib.sha1(b"%d" % number).hexdigest()] = document(number)

    digest = hashlib.sha256()
    for name in sorted(documents): # in an order that has nothing to do with where they lie
        digest.update(name.encode())
        digest.update(documents[name])

    for number, name in enumerate(documents): # every fourth is replaced
        if number % 4 == 0:
            documents[name] = documents[name][::-1]
    for text in documents.values():
        digest.update(text)
    print(count, digest.hexdigest())


if __name__ == "__main__":
    main()
