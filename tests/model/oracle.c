/* SPDX-License-Identifier: MIT */
/* What spaces and files must contain; see oracle.h. */
#include "oracle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t zeros[PAGE_BYTES];

/* ---- Values ------------------------------------------------------------------------------- */

static struct value *value_get(struct value *value)
{
	if (value)
		value->refs++;
	return value;
}

static void value_put(struct value *value)
{
	if (value && --value->refs == 0)
		free(value);
}

static struct value *value_make(const uint8_t *bytes)
{
	struct value *value = malloc(sizeof(*value));

	if (!value)
		abort();
	value->refs = 1;
	memcpy(value->bytes, bytes, PAGE_BYTES);
	return value;
}

/* ---- Objects ------------------------------------------------------------------------------ */

void object_init(struct object *object, bool shmem, uint64_t bytes, unsigned number)
{
	memset(object, 0, sizeof(*object));
	object->used = object->open = true;
	object->shmem = shmem;
	object->number = number;
	object->bytes = bytes;
	for (unsigned i = 0; i < OBJECT_PAGES; i++)
		object->cut[i] = PAGE_BYTES;
	if (bytes % PAGE_BYTES)
		object->cut[bytes / PAGE_BYTES] = (uint16_t)(bytes % PAGE_BYTES);
}

static void object_set(struct object *object, uint64_t index, struct value *value)
{
	value_put(object->values[index]);
	object->values[index] = value;
}

/* The rest of the last page: zeros, should the object grow again. */
static void cut_page(struct object *object, uint64_t index, unsigned from)
{
	struct value *value;

	if (from < object->cut[index])
		object->cut[index] = (uint16_t)from;
	if (!object->values[index])
		return;
	value = value_make(object->values[index]->bytes);
	memset(value->bytes + from, 0, PAGE_BYTES - from);
	object_set(object, index, value);
}

void object_truncate(struct object *object, uint64_t bytes)
{
	bool shrinks = bytes < object->bytes;

	object->bytes = bytes;
	if (!shrinks)
		return;
	for (uint64_t i = object_nr_pages(object); i < OBJECT_PAGES; i++) {
		object_set(object, i, NULL);
		object->cut[i] = PAGE_BYTES;
		object->generation[i]++;
	}
	if (bytes % PAGE_BYTES)
		cut_page(object, bytes / PAGE_BYTES, bytes % PAGE_BYTES);
}

void object_destroy(struct object *object)
{
	for (unsigned i = 0; i < OBJECT_PAGES; i++)
		object_set(object, i, NULL);
	object->used = false;
}

void object_file_bytes(const struct object *object, uint64_t index, uint8_t *bytes)
{
	uint64_t words[2] = {index << 32 | object->generation[index], object->number};

	memset(bytes, (int)(1 + index % 5), PAGE_BYTES);
	memcpy(bytes, words, sizeof(words));
	memset(bytes + object->cut[index], 0, PAGE_BYTES - object->cut[index]);
}

bool object_read_fails(const struct object *object, uint64_t index)
{
	return object->failing && index % 3 == 0;
}

/* ---- Mappings ----------------------------------------------------------------------------- */

static void page_clear(struct oracle_page *page)
{
	if (page->object)
		page->object->mapped--;
	value_put(page->own);
	memset(page, 0, sizeof(*page));
}

static struct oracle_page page_copy(const struct oracle_page *page)
{
	if (page->object)
		page->object->mapped++;
	value_get(page->own);
	return *page;
}

void oracle_map(struct oracle *o, unsigned first, unsigned nr, int prot, struct object *object, bool shared,
	uint32_t index)
{
	oracle_unmap(o, first, nr);
	for (unsigned i = 0; i < nr; i++)
		o->pages[first + i] = (struct oracle_page){.mapped = true,
			.shared = shared,
			.prot = (uint8_t)prot,
			.object = object,
			.index = index + i};
	if (object)
		object->mapped += nr;
}

void oracle_unmap(struct oracle *o, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		page_clear(&o->pages[i]);
}

void oracle_move(struct oracle *o, unsigned first, unsigned nr, unsigned to, unsigned new_nr)
{
	struct oracle_page like = o->pages[first];
	struct oracle_page *moved = calloc(nr, sizeof(*moved));

	if (!moved)
		abort();
	for (unsigned i = 0; i < nr; i++)
		moved[i] = page_copy(&o->pages[first + i]);
	oracle_unmap(o, first, nr);
	oracle_map(o, to, new_nr, like.prot, like.object, like.shared, like.index);
	for (unsigned i = 0; i < nr; i++) {
		if (i >= new_nr) {
			page_clear(&moved[i]);
			continue;
		}
		page_clear(&o->pages[to + i]);
		o->pages[to + i] = moved[i];
	}
	free(moved);
}

void oracle_fork(struct oracle *child, const struct oracle *parent)
{
	for (unsigned i = 0; i < ORACLE_PAGES; i++)
		child->pages[i] = page_copy(&parent->pages[i]);
}

static void page_set_content(struct oracle_page *page, enum whose content, struct value *own)
{
	value_put(page->own);
	page->own = own;
	page->content = content;
}

/* => in its object, if it has one */
static const uint8_t *bytes_behind(const struct oracle_page *page, uint8_t *scratch)
{
	const struct object *object = page->object;

	if (object && !object->shmem) {
		object_file_bytes(object, page->index, scratch);
		return scratch;
	}
	return object && object->values[page->index] ? object->values[page->index]->bytes : zeros;
}

const uint8_t *oracle_bytes(const struct oracle_page *page, uint8_t *scratch)
{
	return page->content == BEHIND ? bytes_behind(page, scratch) : page->own->bytes;
}

void oracle_drop(struct oracle *o, unsigned first, unsigned nr, bool maybe)
{
	for (unsigned i = first; i < first + nr; i++) {
		struct oracle_page *page = &o->pages[i];

		if (page->content != BEHIND && maybe)
			page->content = OWN_OR_BEHIND;
		else if (page->content != BEHIND)
			page_set_content(page, BEHIND, NULL);
	}
}

void oracle_populate(struct oracle *o, unsigned first, unsigned nr)
{
	uint8_t scratch[PAGE_BYTES];

	for (unsigned i = first; i < first + nr; i++) {
		struct oracle_page *page = &o->pages[i];

		if (page->object && !page->shared && page->content == BEHIND &&
			page->index < object_nr_pages(page->object))
			page_set_content(page, OWN_OR_BEHIND, value_make(oracle_bytes(page, scratch)));
	}
}

void oracle_truncate(struct oracle *o, const struct object *object)
{
	for (unsigned i = 0; i < ORACLE_PAGES; i++)
		if (o->pages[i].object == object && o->pages[i].index >= object_nr_pages(object))
			page_set_content(&o->pages[i], BEHIND, NULL);
}

bool oracle_is_mapped(const struct oracle *o, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		if (!o->pages[i].mapped)
			return false;
	return true;
}

bool oracle_is_hole(const struct oracle *o, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		if (o->pages[i].mapped)
			return false;
	return true;
}

bool oracle_has_hole(const struct oracle *o, unsigned nr)
{
	unsigned run = 0;

	for (unsigned i = 0; i < ORACLE_PAGES; i++) {
		run = o->pages[i].mapped ? 0 : run + 1;
		if (run == nr)
			return true;
	}
	return false;
}

bool oracle_has_object(const struct oracle *o, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		if (o->pages[i].object)
			return true;
	return false;
}

/* ---- Content ------------------------------------------------------------------------------ */

int oracle_access(const struct oracle_page *page, bool write)
{
	if (!page->mapped || !(page->prot & (write ? PROT_WRITE : PROT_READ | PROT_WRITE)))
		return -EFAULT;
	return page->object && page->index >= object_nr_pages(page->object) ? -EIO : 0;
}

bool oracle_may_fail(const struct oracle_page *page)
{
	return page->object && page->content != OWN && object_read_fails(page->object, page->index);
}

bool oracle_agrees(struct oracle_page *page, const uint8_t *found)
{
	uint8_t scratch[PAGE_BYTES];

	if (!memcmp(oracle_bytes(page, scratch), found, PAGE_BYTES))
		return true;
	if (page->content != OWN_OR_BEHIND || memcmp(bytes_behind(page, scratch), found, PAGE_BYTES))
		return false;
	page_set_content(page, BEHIND, NULL);
	return true;
}

static void page_write(
	struct oracle_page *page, const uint8_t *was, unsigned offset, const uint8_t *bytes, unsigned len)
{
	struct value *value = value_make(was);

	memcpy(value->bytes + offset, bytes, len);
	if (page->shared)
		object_set(page->object, page->index, value);
	else
		page_set_content(page, OWN, value);
}

bool oracle_written(
	struct oracle_page *page, unsigned offset, const uint8_t *bytes, unsigned len, const uint8_t *found)
{
	struct oracle_page before = *page;
	uint8_t scratch[PAGE_BYTES];
	bool right;

	value_get(before.own);
	page_write(page, oracle_bytes(page, scratch), offset, bytes, len);
	right = !found || !memcmp(oracle_bytes(page, scratch), found, PAGE_BYTES);
	if (!right && before.content == OWN_OR_BEHIND) {
		page_write(page, bytes_behind(&before, scratch), offset, bytes, len);
		right = !memcmp(oracle_bytes(page, scratch), found, PAGE_BYTES);
	}
	value_put(before.own);
	return right;
}
