import { Socket } from 'node:net';
import { worldFace } from '../../native/sandbox-native.ts';

/** A connection that begins inside of a network namespace. */
export async function connectFromInside(netnsFd: number, address: string, port: number): Promise<Socket> {
  return new Socket({ fd: await worldFace().connectInside(netnsFd, address, port, 10_000) });
}
