"""Small programs by which `slimtrace doctor` finds out what this kernel lets us do."""

from slimtrace.errors import SlimtraceError
from slimtrace.observe.kernel import bcc_compiler, programs, running_kernel

_SOURCES = {
    "raw_tracepoint": "int attempt(void *ctx) { return 0; }",
    "kprobe": "int attempt(void *ctx) { return 0; }",
    "ring_buffer": """BPF_RINGBUF_OUTPUT(events, 8);
        int attempt(void *ctx) { u64 x = 1; events.ringbuf_output(&x, sizeof(x), 0); return 0; }""",
    "kernel_reads": """int attempt(void *ctx) { u64 x = 0;
        bpf_probe_read_kernel(&x, sizeof(x), (void *)bpf_get_current_task()); return x; }""",
    "plain_loads": """int attempt(void *ctx) { u64 x;
        u64 registers = (u64)bpf_task_pt_regs(bpf_get_current_task_btf());
        asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(x) : "r"(registers)); return x; }""",
    "casts": """int attempt(struct bpf_raw_tracepoint_args *ctx) { u64 x;
        u64 registers = ((u64 (*)(u64, u64))CAST_FUNCTION)(ctx->args[0], BTF_ID_PT_REGS);
        asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(x) : "r"(registers)); return x; }""",
    "fentry": "KFUNC_PROBE({name}) { return 0; }",
    "lsm": "LSM_PROBE({name}) { return 0; }",
}


def try_program(kind: str, name: str) -> str:
    """Load and attach a program that does nothing: "" if that worked, else why it did not (doctor.TryProgram).
    Kinds: import; tracer (all of bpf/); raw_tracepoint, kprobe, ring_buffer, kernel_reads, plain_loads, casts,
    fentry, lsm."""
    try:
        bcc = bcc_compiler.import_bcc()
    except SlimtraceError as missing:
        return missing.message
    if kind == "import":
        return ""
    if kind == "tracer":
        try:
            programs.load().free()
        except SlimtraceError as refused:
            return refused.message
        return ""
    with programs.captured_stderr() as complaints:
        try:
            casts = running_kernel.cast_constants(running_kernel.read_btf()) if kind == "casts" else {}
            if kind == "casts" and not casts:
                return "the kernel has no function bpf_rdonly_cast"
            text = _SOURCES[kind].replace("{name}", name).encode()
            bpf = bcc.BPF(text=text, cflags=running_kernel.defines(casts))
            try:
                if casts:
                    bcc_compiler.mark_kfunc_calls(bcc, bpf, casts["CAST_FUNCTION"])
                if kind == "raw_tracepoint":
                    bpf.attach_raw_tracepoint(tp=name.encode(), fn_name=b"attempt")
                elif kind == "kprobe":
                    bpf.attach_kprobe(event=name.encode(), fn_name=b"attempt")
                elif kind in ("ring_buffer", "kernel_reads", "plain_loads", "casts"):
                    bpf.load_func(b"attempt", bcc.BPF.RAW_TRACEPOINT)
            finally:
                bpf.cleanup()
        except Exception as problem:
            lines = complaints().strip().splitlines()
            return lines[0] if lines else str(problem) or type(problem).__name__
    return ""
