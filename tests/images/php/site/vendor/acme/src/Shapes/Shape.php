<?php
namespace Acme\Shapes;

abstract class Shape
{
    public function __construct(protected int $size)
    {
    }
}
