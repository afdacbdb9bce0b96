/* cgroup_mkdir: the container's cgroup is watched from the moment it exists, and so is each cgroup made below it.
 * cgroup_attach_task: a process is moved into a watched cgroup, or out of one. */

#define CGROUP_NAME 128
#define ID_LENGTH 64
#define SCOPE_LENGTH 6 /* of ".scope" */

struct cgroup_name {
	u64 before; /* kernels 5.8 to 6.1 may write text[-1] */
	char text[CGROUP_NAME + 16];
};
BPF_PERCPU_ARRAY(cgroup_names, struct cgroup_name, 1);

static __always_inline int needle_at(struct cgroup_name *name, u32 at, struct needle *needle)
{
	if (at >= CGROUP_NAME - 16) /* also where the name is too short, and `at` has wrapped around */
		return 0;
	asm volatile("" : "+r"(at)); /* or clang leaves out the mask, which older verifiers need to believe it */
	at &= CGROUP_NAME - 1;
	return *(u64 *)&name->text[at] == needle->low && *(u64 *)&name->text[at + 8] == needle->high;
}

static __always_inline char char_at(struct cgroup_name *name, u32 at)
{
	asm volatile("" : "+r"(at));
	return name->text[at & (CGROUP_NAME - 1)];
}

/* The engine names the cgroup by the container's id, behind a prefix or none: ID, docker-ID.scope, libpod-ID.scope,
 * cri-containerd-ID.scope. Not libpod-conmon-ID.scope or crio-conmon-ID.scope: these hold conmon, which starts the
 * runtime and waits for the container (podman libpod/oci_conmon_linux.go). There is no loop over the name: verifiers
 * before 6.12 lose its bound in clang's rewriting. */
static __always_inline int names_container(struct cgroup_name *name, u32 length, struct needle *needle)
{
	u32 behind = length - 1; /* the NUL is counted */
	u32 at = behind - ID_LENGTH - SCOPE_LENGTH;
	if (needle_at(name, behind - ID_LENGTH, needle))
		return 1;
	return needle_at(name, at, needle) && !(char_at(name, at - 2) == 'n' && char_at(name, at - 3) == 'o');
}

static __always_inline u64 cgroup_id(kernel_ptr cgroup)
{
	kernel_ptr node = PEEK(u64, cgroup, AT_CGROUP_KN);
	return PEEK(u64, node, AT_KERNFS_ID);
}

static __always_inline int belongs_to_container(kernel_ptr cgroup, struct needle *needle)
{
	kernel_ptr css = PEEK(u64, cgroup, AT_CGROUP_PARENT_CSS);
	u64 parent = cgroup_id(PEEK(u64, css, AT_CSS_CGROUP));
	if (css && watched_cgroups.lookup(&parent))
		return 1;
	int zero = 0;
	struct cgroup_name *name = cgroup_names.lookup(&zero);
	if (!name)
		return 0;
	kernel_ptr node = PEEK(u64, cgroup, AT_CGROUP_KN);
	int length = bpf_probe_read_kernel_str(name->text, CGROUP_NAME, (void *)PEEK(u64, node, AT_KERNFS_NAME));
	return length > 0 && names_container(name, length, needle);
}

/* Each v1 hierarchy numbers its cgroups on its own: `watched_cgroups` has ids of the default hierarchy alone. */
static __always_inline int is_v1(kernel_ptr cgroup)
{
	kernel_ptr root = PEEK(u64, cgroup, AT_CGROUP_ROOT);
	return PEEK(u32, root, AT_CGROUP_ROOT_HIERARCHY) != 0;
}

int on_cgroup_mkdir(struct bpf_raw_tracepoint_args *ctx)
{
	kernel_ptr cgroup = ctx->args[0];
	struct session *now = session();
	if (!now || !now->armed || is_v1(cgroup) || !belongs_to_container(cgroup, &now->needle))
		return 0;
	u64 id = cgroup_id(cgroup);
	u8 one = 1;
	if (watched_cgroups.update(&id, &one)) {
		count_loss(LOST_RECORD);
		return 0;
	}
	if (!now->creator_ns)
		now->creator_ns = mount_namespace(bpf_get_current_task());
	struct cgroup_record record = {
		.head = {.type = RECORD_CGROUP, .pid = current_process(), .length = sizeof(record)},
		.id = id,
	};
	hand_over(&record, sizeof(record), LET_SLEEP);
	return 0;
}

static __always_inline int is_in_watched_cgroup(kernel_ptr task)
{
	kernel_ptr set = PEEK(u64, task, AT_TASK_CGROUPS);
	u64 id = cgroup_id(PEEK(u64, set, AT_CSS_SET_DFL_CGRP));
	return watched_cgroups.lookup(&id) != NULL;
}

int on_cgroup_attach_task(struct bpf_raw_tracepoint_args *ctx)
{
	kernel_ptr cgroup = ctx->args[0];
	if (is_v1(cgroup))
		return 0;
	u64 id = cgroup_id(cgroup);
	u32 pid = PEEK(u32, ctx->args[2], AT_TASK_TGID);
	u32 *state = process_state_of(pid);
	if (!watched_cgroups.lookup(&id)) {
		if (state)
			*state = 0;
	} else if (!state || !*state) {
		set_process_state(pid, initial_state());
	}
	return 0;
}
