"""Certificates by ACME from a real authority: ordered, kept, found again, renewed, and what happens when it fails."""

import base64
import ssl
import stat

import pytest
from cryptography import x509
from front import DOMAINS, wait_until

EXPIRY = 'crossfade_certificate_expiry_timestamp_seconds{name="www.example.com"}'


def names(certificate):
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(extension.value.get_values_for_type(x509.DNSName))


def known_as(certificate):
    """What its authority knows a certificate by (RFC 9773 section 4.1)."""
    signer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    serial = certificate.serial_number.to_bytes(certificate.serial_number.bit_length() // 8 + 1, "big")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (signer, serial))


def failures(front, reason):
    return front.metric(f'crossfade_acme_failures_total{{reason="{reason}"}}')


def test_a_certificate_for_several_names_is_ordered_by_http_01(authorities, front):
    authorities()
    front.start()
    front.wait_for("acme.issued")
    assert names(front.certificate()) == set(DOMAINS)
    assert front.metric(EXPIRY) == front.certificate().not_valid_after_utc.timestamp()
    assert front.metric("crossfade_acme_last_success_timestamp_seconds") > 0
    assert failures(front, "unreachable") == 0
    assert [front.served(name) for name in DOMAINS] == [front.certificate()] * 2
    # Who orders asks nobody for proofs any more.
    assert front.get("/.well-known/acme-challenge/anything") == 404


def test_a_certificate_is_ordered_by_tls_alpn_01(authorities, front):
    authorities()
    front.start(acme='challenge = "tls-alpn-01"')
    front.wait_for("acme.issued")
    assert names(front.certificate()) == set(DOMAINS)
    assert front.served() == front.certificate()
    # Who asks as an authority does gets a proof or nothing, and there is none any more.
    with pytest.raises(ssl.SSLError):
        front.served(alpn="acme-tls/1")


def test_a_redirect_to_tls_leaves_proofs_alone(authorities, front):
    authorities()
    front.start(acme=f"[tls]\nredirect_http = {front.ports.tls}")
    front.wait_for("acme.issued")
    assert front.get("/.well-known/acme-challenge/anything") == 404


def test_keys_are_for_nobody_else(authorities, front):
    authorities()
    front.start()
    front.wait_for("acme.issued")
    for name in ("account.json", "certificate.pem"):
        assert stat.S_IMODE(front.kept(name).stat().st_mode) == 0o600
    assert stat.S_IMODE(front.kept().parent.stat().st_mode) == 0o700
    assert {path.name for path in front.kept().parent.iterdir()} == {"account.json", "certificate.pem"}
    assert "PRIVATE KEY" in front.kept().read_text()
    assert not any("PRIVATE KEY" in line for line in front.lines)


def test_a_restart_finds_the_certificate_and_orders_nothing(authorities, front):
    authorities().stop()
    authority = authorities()
    front.start()
    front.wait_for("acme.issued")
    kept = front.kept().read_bytes()
    authority.stop()
    front.restart()
    front.wait_for("acme.found")
    assert not front.events("acme.ordered")
    assert front.served() == front.certificate()
    assert front.metric(EXPIRY) == front.certificate().not_valid_after_utc.timestamp()
    assert front.kept().read_bytes() == kept


def test_it_is_renewed_at_two_thirds_of_its_life_without_a_restart(authorities, front):
    authorities(lifetime=15)
    front.start()
    front.wait_for("acme.issued")
    first = front.certificate()
    front.wait_for("acme.renewed")
    second = front.certificate()
    assert second.serial_number != first.serial_number
    assert front.served() == second
    assert second.not_valid_before_utc < first.not_valid_after_utc, "before the first was over"
    age = (second.not_valid_before_utc - first.not_valid_before_utc).total_seconds()
    assert 8 <= age <= 13, f"renewed after {age} of 15 s"
    assert front.metric(EXPIRY) == second.not_valid_after_utc.timestamp()


def test_it_is_renewed_when_its_authority_asks_for_it(authorities, front, windowed):
    authorities()
    front.authority = windowed.address
    front.start()
    front.wait_for("acme.issued")
    first = front.certificate()
    # The authority is asked at start, and hours after an order.
    front.restart()
    front.wait_for("acme.renewed")
    assert windowed.asked == windowed.replaced == [known_as(first)]
    assert front.certificate().serial_number != first.serial_number
    front.restart()
    wait_until(lambda: windowed.asked, lambda: len(windowed.asked) == 2)
    assert windowed.asked[1] == known_as(front.certificate())
    assert not front.events("acme.ordered")


def test_a_failing_authority_leaves_the_certificate_serving(authorities, front):
    authority = authorities(lifetime=15)
    front.start()
    front.wait_for("acme.issued")
    kept = front.kept().read_bytes()
    authority.stop()
    failed = front.wait_for("acme.failed")
    assert 'reason="unreachable"' in failed and "localhost can't be reached" in failed
    assert failures(front, "unreachable") == 1
    assert front.kept().read_bytes() == kept
    assert front.metric(EXPIRY) == front.certificate().not_valid_after_utc.timestamp()
    assert front.served() == front.certificate()
    # Visitors notice nothing, and no second try follows on the first.
    assert front.get("/") == 404
    assert len(front.events("acme.ordered")) == 2


def test_an_authority_that_has_forgotten_us_gets_a_new_account(authorities, front):
    authorities(lifetime=15).stop()
    first = authorities(lifetime=15)
    front.start()
    front.wait_for("acme.issued")
    account = front.kept("account.json").read_bytes()
    first.stop()
    authorities(lifetime=15)
    front.wait_for("acme.renewed")
    assert front.kept("account.json").read_bytes() != account
    assert front.kept("account.json.broken").read_bytes() == account
    assert front.events("acme.state-broken") and not front.events("acme.failed")


def test_a_torn_certificate_is_named_and_kept_aside_and_another_is_ordered(authorities, front):
    authorities()
    front.start()
    front.wait_for("acme.issued")
    front.stop()
    torn = front.kept().read_bytes()[:700]
    front.kept().write_bytes(torn)
    front.restart()
    broken = front.wait_for("acme.state-broken")
    assert "certificate.pem" in broken
    front.wait_for("acme.issued")
    assert front.kept("certificate.pem.broken").read_bytes() == torn
    assert names(front.certificate()) == set(DOMAINS)


def test_a_name_more_is_ordered_when_the_file_is_saved(authorities, front):
    authorities()
    front.start(domains=DOMAINS[:1])
    front.wait_for("acme.issued")
    assert names(front.certificate()) == set(DOMAINS[:1])
    front.configure()
    front.wait_for("acme.renewed")
    assert names(front.certificate()) == set(DOMAINS)


def test_a_name_that_leads_elsewhere_is_named_with_what_was_seen(authorities, front):
    authorities()
    # Proved on the port of TLS, where nobody listens.
    front.start(acme='challenge = "tls-alpn-01"', tls=False)
    failed = front.wait_for("acme.failed")
    assert 'reason="not_proved"' in failed and "example.com wasn't proved to be ours" in failed
    assert failures(front, "not_proved") == 1
    assert not front.kept().exists()
