"""Makes a bundle of PEM certificates of Mozilla's certdata.txt: those that are trusted to vouch for servers."""

import base64
import sys


def objects(lines):
    """Yields the objects of a certdata.txt as dicts from attribute to text, or bytes where it is octal."""
    entry = {}
    for line in lines:
        words = line.split(None, 2)
        if not words or words[0][0] == "#" or words[0] == "BEGINDATA":
            continue
        name, kind, value = words[0], words[1], words[2] if len(words) > 2 else ""
        if name == "CKA_CLASS":
            if entry:
                yield entry
            entry = {}
        if kind == "MULTILINE_OCTAL":
            digits = "".join(iter(lambda: next(lines).strip(), "END"))
            entry[name] = bytes(int(d, 8) for d in digits.split("\\")[1:])
        else:
            entry[name] = value.strip()
    yield entry


certificates, trusted = {}, set()
for entry in objects(sys.stdin):
    key = entry.get("CKA_ISSUER"), entry.get("CKA_SERIAL_NUMBER")
    if entry["CKA_CLASS"] == "CKO_CERTIFICATE":
        certificates[key] = entry
    elif entry.get("CKA_TRUST_SERVER_AUTH") == "CKT_NSS_TRUSTED_DELEGATOR":
        trusted.add(key)

missing = trusted - certificates.keys()
if missing or not trusted:
    sys.exit(f"certdata.txt: {len(trusted)} authorities are trusted, of which {len(missing)} have no certificate")
for key, entry in certificates.items():
    if key in trusted:
        text = base64.encodebytes(entry["CKA_VALUE"]).decode().replace("\n", "")
        print("#", entry["CKA_LABEL"].strip('"'))
        print("-----BEGIN CERTIFICATE-----")
        for i in range(0, len(text), 64):
            print(text[i:i + 64])
        print("-----END CERTIFICATE-----")
