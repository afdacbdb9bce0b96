/* cgroup_mkdir: lets the container's cgroup into the filter the moment it exists, and whatever is made below it. */

#define CGROUP_NAME 128
#define PREFIXES 40 /* longest run of characters in front of the id: docker-, libpod-, crio-, cri-containerd- */

struct cgroup_name {
	char text[CGROUP_NAME];
};
BPF_PERCPU_ARRAY(cgroup_names, struct cgroup_name, 1);

/* The engine names the cgroup by the container's id: ID, docker-ID.scope, libpod-ID.scope. */
static __always_inline int names_container(struct cgroup_name *name, int length, struct needle *needle)
{
#pragma clang loop unroll(disable)
	for (int at = 0; at < PREFIXES; at++) {
		if (at + 16 >= length)
			return 0;
		if (*(u64 *)&name->text[at] == needle->low && *(u64 *)&name->text[at + 8] == needle->high)
			return 1;
	}
	return 0;
}

static __always_inline u64 cgroup_id(kernel_ptr cgroup)
{
	kernel_ptr node = PEEK(u64, cgroup, AT_CGROUP_KN);
	return PEEK(u64, node, AT_KERNFS_ID);
}

static __always_inline int is_ours(kernel_ptr cgroup, struct needle *needle)
{
	kernel_ptr css = PEEK(u64, cgroup, AT_CGROUP_PARENT_CSS);
	u64 parent = cgroup_id(PEEK(u64, css, AT_CSS_CGROUP));
	if (css && scope.lookup(&parent))
		return 1;
	int zero = 0;
	struct cgroup_name *name = cgroup_names.lookup(&zero);
	if (!name)
		return 0;
	kernel_ptr node = PEEK(u64, cgroup, AT_CGROUP_KN);
	int length = bpf_probe_read_kernel_str(name->text, CGROUP_NAME, (void *)PEEK(u64, node, AT_KERNFS_NAME));
	return length > 16 && names_container(name, length, needle);
}

RAW_TRACEPOINT_PROBE(cgroup_mkdir)
{
	kernel_ptr cgroup = ctx->args[0];
	struct session *now = session();
	if (!now || !now->armed)
		return 0;
	/* v1 hierarchies number their cgroups on their own: only the default hierarchy's ids are ours */
	kernel_ptr root = PEEK(u64, cgroup, AT_CGROUP_ROOT);
	if (PEEK(u32, root, AT_CGROUP_ROOT_HIERARCHY) != 0 || !is_ours(cgroup, &now->needle))
		return 0;
	u64 id = cgroup_id(cgroup);
	u8 one = 1;
	if (scope.update(&id, &one)) {
		count_loss(LOST_RECORD);
		return 0;
	}
	if (!now->creator_ns)
		now->creator_ns = mount_namespace(bpf_get_current_task());
	struct cgroup_record record = {
		.head = {.type = RECORD_CGROUP, .pid = current_process(), .length = sizeof(record)},
		.id = id,
	};
	hand_over(&record, sizeof(record));
	return 0;
}
