"""What a manifest store claims, in plain values.

    claim = read_claim(store)
    claim.signer, claim.sound, claim.trusted

A store that was recovered by a payload says who vouched for the photo on record. It
says nothing about the pixels of the suspect that led to it, which is why its hash of
the photo's file is not looked at here: `check_photo` does that, for the file itself.
"""

from __future__ import annotations

import dataclasses
import io
import json

import c2pa

from faketagger_tf.provenance.binding import decode_value

# Nothing is fetched from addresses that a photo names; no small picture of the untagged
# original gets into a manifest.
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
# A store alone has no photo whose hash could be compared.
_OF_THE_PHOTO = ("assertion.dataHash.mismatch", "assertion.bmffHash.mismatch")
_UNTRUSTED = "signingCredential.untrusted"


@dataclasses.dataclass(frozen=True)
class Claim:
    """An active manifest's claim.

    Attributes:
        manifest_id: its label, "urn:c2pa:...".
        sound: signature and assertions are unchanged since they were signed, by a
            certificate that was valid then: now, if no time-stamp says when that was.
        trusted: and the signer's certificate leads to one of the trust anchors; None
            where none were given, so that nobody has looked.
        signer: the certificate's organization and name.
        signed_at: ISO 8601, as a time-stamp authority states it, whom nobody has
            checked; "" without one.
        generator: the program that made it.
        title: the photo's name.
        actions: such as "c2pa.opened".
        algorithm, value: the soft binding's; "" and b"" without one.
        parents: labels of the manifests that the original came with.
        problems: what a reader found wrong: C2PA's codes, or a clause of ours.
    """

    manifest_id: str
    sound: bool = False
    trusted: bool | None = None
    signer: str = ""
    signed_at: str = ""
    generator: str = ""
    title: str = ""
    actions: tuple[str, ...] = ()
    algorithm: str = ""
    value: bytes = b""
    parents: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """In a word: "invalid", "unchecked", "trusted" or "not trusted"."""
        if not self.sound:
            return "invalid"
        if self.trusted is None:
            return "unchecked"
        return "trusted" if self.trusted else "not trusted"


def make_context(anchors: str = "") -> c2pa.Context:
    """C2PA's library without network; `anchors` are PEM certificates to trust."""
    trust = {"trust": {"trust_anchors": anchors}} if anchors else {}
    return c2pa.Context.from_dict(_SETTINGS | trust)


def read_claim(store: bytes, anchors: str = "") -> Claim:
    """Reads a manifest store, as the registry keeps it and the API gives it out.

    Args:
        store: the store by itself ("application/c2pa").
        anchors: certificates to trust as PEM, from `certificates.load_anchors`;
            without any nobody is asked for.

    Raises:
        ValueError: it is damaged.
    """
    return _read(store, "application/c2pa", anchors, _OF_THE_PHOTO)


def check_photo(data: bytes, media_type: str, anchors: str = "") -> Claim | None:
    """Reads the manifest within a photo; None if there is none.

    Args:
        data: the file.
        media_type: such as "image/jpeg".
        anchors: as for `read_claim`.

    Returns:
        The claim; it is sound only if the photo is the very file that was signed.

    Raises:
        ValueError: the manifest is damaged.
    """
    try:
        return _read(data, media_type, anchors, ())
    except _NoManifest:
        return None


class _NoManifest(ValueError):
    pass


def _read(data: bytes, media_type: str, anchors: str, ignored) -> Claim:
    try:
        with (
            make_context(anchors) as context,
            c2pa.Reader(media_type, io.BytesIO(data), context=context) as reader,
        ):
            told = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        raise _NoManifest("The photo has no manifest.") from None
    except c2pa.C2paError as error:
        reason = str(error).strip().rstrip(".")
        raise ValueError(f"The manifest cannot be read: {reason}.") from None
    try:
        return _parse(told, anchors, ignored)
    except (AttributeError, IndexError, KeyError, TypeError):
        # C2PA's library passes some damage on as fields that are missing.
        raise ValueError("The manifest cannot be read: it is damaged.") from None


def _parse(told: dict, anchors: str, ignored) -> Claim:
    label = told["active_manifest"]
    manifest = told["manifests"][label]
    results = told["validation_results"]["activeManifest"]
    passed = {each["code"] for each in results["success"]}
    problems = [each["code"] for each in results["failure"]]
    problems = [code for code in problems if code not in ignored]
    sound = "claimSignature.validated" in passed and not set(problems) - {_UNTRUSTED}
    signature = manifest.get("signature_info", {})
    assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
    actions = assertions.get("c2pa.actions.v2") or assertions.get("c2pa.actions") or {}
    binding = assertions.get("c2pa.soft-binding", {})
    blocks = binding.get("blocks") or [{}]
    names = [signature.get(name, "") for name in ("issuer", "common_name")]
    generator = (manifest.get("claim_generator_info") or [{}])[0]
    return Claim(
        manifest_id=label,
        sound=sound,
        trusted=sound and "signingCredential.trusted" in passed if anchors else None,
        signer=", ".join(filter(None, names)),
        signed_at=signature.get("time") or "",
        generator=f"{generator.get('name', '')} {generator.get('version', '')}".strip(),
        title=manifest.get("title") or "",
        actions=tuple(each["action"] for each in actions.get("actions", ())),
        algorithm=binding.get("alg", ""),
        value=_bytes(blocks[0].get("value", "")),
        parents=tuple(
            ingredient["active_manifest"]
            for ingredient in manifest.get("ingredients", ())
            if ingredient.get("active_manifest")
        ),
        problems=tuple(problems),
    )


def _bytes(value: str | list[int]) -> bytes:
    """Other programs may have stored bytes instead of base64."""
    try:
        return decode_value(value) if isinstance(value, str) else bytes(value)
    except ValueError:
        return b""
