// Pictures for the documentation in at most 256 colours, which a page has few more of: a third of the size.

import { deflateSync, inflateSync } from "node:zlib";

/** A PNG of 8-bit RGB or RGBA, as browsers write them, as one with a palette (PNG, third edition, section 11.2.2). */
export function smallPng(png) {
  const { width, height, pixels } = decode(png);
  const [colours, indexes] = quantise(pixels);
  const rows = Buffer.alloc(height * (width + 1));
  for (let y = 0; y < height; y += 1) rows.set(indexes.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const data = deflateSync(rows, { level: 9 });
  const chunks = [chunk("IHDR", header), chunk("PLTE", Buffer.from(colours.flat())), chunk("IDAT", data)];
  return Buffer.concat([png.subarray(0, 8), ...chunks, chunk("IEND", Buffer.alloc(0))]);
}

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

function crc32(data) {
  let sum = -1;
  for (const byte of data) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

/** The pixels, three bytes each, with the filters of the rows undone (section 9). */
function decode(png) {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const size = png[25] === 6 ? 4 : 3;
  const parts = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const isData = png.toString("latin1", at + 4, at + 8) === "IDAT";
    if (isData) parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const raw = inflateSync(Buffer.concat(parts));
  const stride = width * size;
  const pixels = Buffer.alloc(width * height * 3);
  let above = Buffer.alloc(stride);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (stride + 1)];
    const row = Buffer.from(raw.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1)));
    for (let x = 0; x < stride; x += 1) {
      const [left, up, corner] = [x < size ? 0 : row[x - size], above[x], x < size ? 0 : above[x - size]];
      row[x] += [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
    }
    for (let x = 0; x < width; x += 1) pixels.set(row.subarray(x * size, x * size + 3), (y * width + x) * 3);
    above = row;
  }
  return { width, height, pixels };
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [left, up, corner].map((value) => Math.abs(guess - value));
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

/** The colours that cover most of the picture, and of each pixel the nearest of them. */
function quantise(pixels) {
  const counts = new Map();
  for (let at = 0; at < pixels.length; at += 3) {
    const colour = pixels.readUIntBE(at, 3);
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const split = (colour) => [colour >> 16, (colour >> 8) & 255, colour & 255];
  const distance = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2;
  const colours = [];
  // Close to one that is taken already, a colour adds little.
  for (const [colour, count] of [...counts].sort(([, a], [, b]) => b - a)) {
    const near = count > 200 ? 0 : 150;
    const adds = colours.every((taken) => distance(taken, split(colour)) > near);
    if (colours.length < 256 && adds) colours.push(split(colour));
  }
  const nearest = new Map();
  for (const colour of counts.keys()) {
    const wanted = split(colour);
    const gaps = colours.map((taken) => distance(taken, wanted));
    nearest.set(colour, gaps.indexOf(Math.min(...gaps)));
  }
  const indexes = Buffer.alloc(pixels.length / 3);
  for (let at = 0; at < pixels.length; at += 3) indexes[at / 3] = nearest.get(pixels.readUIntBE(at, 3));
  return [colours, indexes];
}
