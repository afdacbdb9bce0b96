"""The SELinux policy of a slim container."""

from slimtrace.reason.confine.selinux.policy import policy, policy_name, templates

__all__ = ["policy", "policy_name", "templates"]
