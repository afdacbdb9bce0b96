"""The verb that slims: build."""

import json
from typing import Annotated

import typer

from slimtrace import signals
from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.cli.config import Configured
from slimtrace.cli.option_values import action, launch, lines, measures, plan
from slimtrace.errors import Exit, SlimtraceError


@app.command(cls=Configured)
def build(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Name or id of an image; may be left out with --from.")
    ] = "",
    tag: options.Tag = "",
    from_: options.From = None,
    continue_after: options.ContinueAfter = "probe",
    http_probe: options.HttpProbe = True,
    host_exec: options.HostExec = None,
    exec_: options.Exec = None,
    ready_timeout: options.ReadyTimeout = 60,
    stop_timeout: options.StopTimeout = 10,
    entrypoint: options.Entrypoint = None,
    cmd: options.Cmd = None,
    env: options.Env = None,
    user: options.User = "",
    workdir: options.Workdir = "",
    volume: options.Volume = None,
    network: options.Network = "",
    keep: options.Keep = "closure",
    include_path: options.IncludePath = None,
    include_path_file: options.IncludePathFile = None,
    include_bin: options.IncludeBin = None,
    include_exe: options.IncludeExe = None,
    include_shell: options.IncludeShell = False,
    include_workdir: options.IncludeWorkdir = False,
    exclude_pattern: options.ExcludePattern = None,
    preserve_path: options.PreservePath = None,
    path_perms: options.PathPerms = None,
    package_db: options.PackageDatabase = "trimmed",
    verify: options.Verify = True,
    rounds: options.Rounds = 3,
    tolerance: options.Tolerance = 0.0,
    without: options.Without = None,
    seccomp_action: options.SeccompAction = "errno",
    config: options.Config = None,
    artifacts: options.Artifacts = None,
    remove_file_artifacts: options.RemoveFileArtifacts = False,
    pull: options.Pull = False,
    strict: options.Strict = False,
    as_json: options.Json = False,
) -> None:
    """Trace IMAGE's container, make a slim image and security profiles of what it needs, and try them."""
    with signals.deferred():
        from slimtrace import pipeline
        from slimtrace.present import live, summary
        from slimtrace.reason.keep import rules_file

    if not image and not from_:
        raise SlimtraceError("cannot build nothing", "name an image, or captures with --from", Exit.USAGE)
    launched = launch(entrypoint, cmd, env, user, workdir, volume, network)
    driven = plan(continue_after, http_probe, host_exec, exec_, ready_timeout, stop_timeout, launched)
    listed = [line for file in include_path_file or () for line in lines(file)]
    rules = rules_file.rules(
        {
            "keep": keep,
            "include-path": [*(include_path or ()), *(path for path, _ in listed)],
            "include-bin": include_bin,
            "include-exe": include_exe,
            "include-shell": include_shell,
            "include-workdir": include_workdir,
            "exclude-pattern": exclude_pattern,
            "preserve-path": preserve_path,
            "package-db": package_db,
            "path-perms": [*(wanted for _, wanted in listed if wanted), *(path_perms or ())],
        }
    )
    request = pipeline.Request(
        reference=image,
        tag=tag,
        plan=driven,
        rules=rules,
        artifacts=artifacts,
        keep_artifacts=not remove_file_artifacts,
        pull=pull,
        captures=tuple(from_ or ()),
        verify=verify,
        rounds=rounds,
        tolerance=tolerance,
        without=measures(without),
        seccomp_action=action(seccomp_action),
    )
    with signals.deferred():
        with live.screen(json=as_json) as screen:
            report = pipeline.build(request, screen)
        if as_json:
            typer.echo(json.dumps(report.to_json()))
        else:
            summary.summary(report)
        signals.forget()  # the image is made: what arrived while this was told came too late
    if strict and report.doubts:
        raise SlimtraceError(
            f"cannot vouch for {report.slim.reference}: the result has {len(report.doubts)} doubts",
            "they are in the report; without --strict they are no failure",
            Exit.DOUBTFUL,
        )
