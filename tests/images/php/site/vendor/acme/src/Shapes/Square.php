<?php
namespace Acme\Shapes;

class Square extends Shape
{
    public function area()
    {
        return $this->size ** 2;
    }
}
