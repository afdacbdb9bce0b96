"""The SELinux policy of a slim container."""

from slimtrace.reason.confine.selinux.policy import cil_policy, policy_name, templates

__all__ = ["cil_policy", "policy_name", "templates"]
