/** The members of a JSON object that was sent to a service; none where it is no such object: the service says what it misses. */
export async function bodyOf(call: { json(): Promise<unknown> }): Promise<Readonly<Record<string, unknown>>> {
  try {
    const value = await call.json();
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
