<<<<<<< HEAD
import{n as e}from"./assets/film-DAlDvhkm.js";import{t}from"./assets/gpu-C86kcVpP.js";import{n}from"./assets/machine-BAPC7Cmc.js";import{t as r}from"./assets/memory-B9acMY6y.js";export{e as film,t as gpu,n as machine,r as memory};
=======
import{n as e}from"./assets/film-DAlDvhkm.js";import{t}from"./assets/gpu-nptdw8y-.js";import{n}from"./assets/machine-CUXLpcWF.js";import{t as r}from"./assets/memory-B6URyEIU.js";export{e as film,t as gpu,n as machine,r as memory};
>>>>>>> breaker
