// SPDX-License-Identifier: MIT
#include "tests/proc/signal/help.h"
#include "mm/frame/slab.h"

#define SI_QUEUE (-1)

struct scene *scene_begin(void)
{
	struct scene *s = kzalloc(sizeof(*s));

	if (!EXPECT(s))
		return NULL;
	mutex_init(&s->process.lock, "process of a test");
	list_init(&s->process.tasks);
	s->process.name = "test";
	signals_init_process(&s->process);
	for (unsigned i = 0; i < SCENE_TASKS; i++) {
		s->tasks[i].process = &s->process;
		s->tasks[i].tid = i + 1;
		signals_init_task(&s->tasks[i], NULL);
		list_push_back(&s->process.tasks, &s->tasks[i].link);
	}
	return s;
}

void scene_end(struct scene *s)
{
	mutex_lock(&s->process.lock);
	for (unsigned i = 0; i < SCENE_TASKS; i++) {
		list_remove(&s->tasks[i].link);
		signals_end_task(&s->tasks[i]);
	}
	mutex_unlock(&s->process.lock);
	signals_end_process(&s->process);
	EXPECT_EQ(s->process.signals.queued, 0);
	kfree(s);
}

u32 scene_next(struct scene *s, unsigned i)
{
	struct user_siginfo info = { 0 };
	u32 signo = signal_take(&s->tasks[i], ~s->tasks[i].signals.blocked, &info);

	EXPECT_EQ(info.signo, signo);
	return signo;
}

int scene_send(struct scene *s, u32 signo)
{
	return signal_send(&s->process, &(struct user_siginfo){ .signo = (s32)signo, .code = SI_USER, .from.pid = 7 });
}

int scene_send_to(struct scene *s, unsigned i, u32 signo)
{
	struct user_siginfo info = { .signo = (s32)signo, .code = SI_TKILL };
	int error;

	mutex_lock(&s->process.lock);
	error = signal_send_task(&s->tasks[i], &info);
	mutex_unlock(&s->process.lock);
	return error;
}

int scene_send_value(struct scene *s, u32 signo, u64 value)
{
	return signal_send(&s->process, &(struct user_siginfo){
		.signo = (s32)signo, .code = SI_QUEUE, .from = { .pid = 7, .value = value } });
}

void scene_set_handler(struct scene *s, u32 signo, vaddr_t handler)
{
	EXPECT_EQ(signal_set_action(&s->process, signo, &(struct signal_action){ .handler = handler }, NULL), 0);
}
